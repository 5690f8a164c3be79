"""The guide to the course's ideas, and the scripts that draw its pictures."""
