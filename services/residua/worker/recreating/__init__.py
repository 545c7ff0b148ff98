"""Images that are not stored, made again for who asks on the topic ``recreation-requests``."""
