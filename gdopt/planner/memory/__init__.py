"""The memory of devices: what is free, what work takes, and how it runs out."""
