"""What several pictures need: what one is, its sheet, and descents."""
