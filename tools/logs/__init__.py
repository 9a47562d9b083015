"""A board's logs on the laptop: pulled over the console, kept as files, a day of them drawn."""
