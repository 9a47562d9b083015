"""What test_rare.py fetches: modules for which there is no room at first."""

tries: list = []  # how many times each was begun
