"""What commands are made of: options, the problem, a session of training, progress."""
