"""What holds a network back from learning noise by heart."""
