"""A small HTTP/1.1 server for a board that has something more important to do; it knows no batteries."""
