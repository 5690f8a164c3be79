"""What runs a search: trials, the file that keeps them, processes beside each other."""
