"""What a site file has become: kept while the site runs, in a file of its own so that the one that reads it can leave."""

from firmware import image as im


class Site:
    """What a site file describes, checked and built: see sitefile.build."""

    refused = ""  # why the file is refused, where it is
    secrets: tuple = ()  # texts that no log may hold; a service with a password in its options adds it

    def __init__(self) -> None:
        self.name = "site"
        self.errors: list = []
        self.image = im.Image()
        self.config = None  # PowerConfig
        self.services: list = []  # (name, module, options, whether every site has it), in the order to build them
        self.name_server = None  # a function: the address of the network's name server; None without a network
        self.buses: dict = {}
        self.devices: dict = {}
        self.places: dict = {}  # by image.HAS_* bit: (name of the device that brings it, where it is reached, in words)
        self.has = 0  # image.HAS_* bits of the devices
