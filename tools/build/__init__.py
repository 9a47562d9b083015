"""What goes onto a board: slot numbers, tables, staging, images, and what all of it weighs."""
