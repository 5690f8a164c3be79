"""What commands are made of: the problem, a session of training, progress, Ctrl-C."""
