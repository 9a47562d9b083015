"""How esp32.NVS finds and puts a value."""


def get(values: dict, key: str, kind) -> bytes:
    """The value of that kind (0 int32, 1 blob, None either); OSError where there is none."""
    found = values.get(key)
    if found is None or (kind is not None and found[0] != kind):
        raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
    return found[1]


def put(values: dict, key: str, kind: int, data: bytes) -> None:
    """Sets a value; OSError for a key of more than 15 characters."""
    if not 0 < len(key) <= 15:
        raise OSError(-0x1106, "ESP_ERR_NVS_KEY_TOO_LONG")
    values[key] = (kind, data)
