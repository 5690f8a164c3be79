"""The rules as their papers write them, and how they are put together."""
