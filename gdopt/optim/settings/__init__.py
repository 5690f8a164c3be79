"""What an optimizer is set to: hyper-parameters and options."""
