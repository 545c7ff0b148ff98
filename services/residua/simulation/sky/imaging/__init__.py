"""From a scene on the sky to light on pixels."""
