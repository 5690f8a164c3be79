"""What makes the surface easy before the first step: features and first weights."""
