"""Hop 1: a Faust transport whose consumer never skips an offset, and the intake that reads from it.

Importing this package registers the driver: `faust.App(broker="gapless://host:9092")`.
"""

from faust.transport.drivers import TRANSPORTS

from agents.transport.pins import check_pins

check_pins()
TRANSPORTS.aliases["gapless"] = "agents.transport.consumer:Transport"
