"""What the mutator puts into inputs: the corners of JSON, msgpack, UTF-8, dates, headers and the contract's limits."""

from typing import Any

# in the place of a value: what no encoder would write
JSON_RAW = (
    b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"0.1e+400", b"-0", b"01", b"0x1", b"-", b"1.", b"+1", b"tru", b"'a'",
    b'"\\ud83d"', b'"\\udc00\\ud800"', b'"\\u00"', b'"\\x"', b'"\xff"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"',
    b'"\x00"', b'"a', b"//", b"\x00", b"[", b"{", b'{"a":1,}', b"[1,]", b"9" * 5_000, b"0." + b"0" * 3_000 + b"1",
    b"1e" + b"9" * 30, b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 3_000, b'{"a":' * 3_000,
    b" " * 2_000 + b"1",
)
# seldom: slow to decode, near the largest record that is read, or above it
JSON_HUGE = (
    b"[" * 200_000, b"[" + b"[]," * 80_000 + b"[]]", b"[" + b"{}," * 80_000 + b"{}]", b'"' + b"x" * 230_000 + b'"',
    b'"' + b"\\u00e9" * 40_000 + b'"', b"[" + b"1e1," * 60_000 + b"1]", b"1" * 250_000, b"1." + b"1" * 250_000,
    b"{" + b",".join(b'"%x":0' % number for number in range(25_000)) + b"}", b'"' + b"x" * 270_000 + b'"',
    b"[" + b'{"item_id":"%s"},' % (b"1" * 256) * 800 + b"{}]", b"[" + b'{"item_id":"1"},' * 15_000 + b"{}]",
)
PACKED_RAW = (
    b"\xc1", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xdd\x01\x00\x00\x00\xc0",
    b"\xd6\xff\x00\x00\x00\x00", b"\xa2\xff\xff", b"\xa3\xed\xa0\x80", b"\xcb\x7f\xf8" + b"\0" * 6,
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + b"\0" * 7, b"\x91" * 900 + b"\xc0", b"\x81\xa1a" * 900 + b"\xc0", b"\x91" * 3_000 + b"\xc0",
    b"\x81\xa1a" * 3_000, b"\xc4\x02\xff\xff", b"\x81\x91\x01\x01",
)
PACKED_HUGE = (
    b"\x91" * 200_000, b"\xdd\0\3\0\0" + b"\x90" * 0x30000, b"\xdd\0\3\0\0" + b"\x80" * 0x30000,
    b"\xdb\0\3\0\0" + b"x" * 0x30000, b"\xdd\0\0\x50\0" + b"\xcb\x3f\xf0\0\0\0\0\0\0" * 0x5000,
)
# as values of any field
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, -1e308, 1 << 63, 1 << 64, -(1 << 63) - 1, 10**400, float("nan"), float("inf"), "",
    " ", "1", "x" * 257, "x" * 2_049, "é" * 300, "v:1", "\ud800", "\x00", "\U0010ffff", "1.0", "EUR", [], {}, [[]],
    {"": None},
    "2026-11-23T10:00:00Z", "2026-11-23T10:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59",
    "2026-12-31T23:59:60Z", "1969-12-31T23:59:59Z", "application/json; charset=utf-8",
    "application/json" + " " * 2_000 + "x", "retail.purchase.v1", "retail.view_item.v1", "retail.item.v1",
    "retail.stock_level.v1", b"\xff",
)
ALPHABET = 'ab0 :|{}/"\\é\x01日🛒'
TIMES = (2, 41, 201, 501, 2_001)  # one more than the limits of lists
LENGTHS = (256, 257, 2_048, 2_049)  # the limits of texts, and one more
NAMES = (
    "ce_", "ce_type", "ce_data", "ce_id", "ce_source", "ce_datacontenttype", "CE_TYPE", "ce_type\x00", "", "é" * 99,
    "content-type", "__streams.errors.topic", "__streams.errors.offset", "footfall.retry.of", "x" * 9_000,
)
HEADER_VALUES = (
    None, b"", b"\xff\xfe", b"\xed\xa0\x80", b"0", b"9" * 5_000, b"-1", b"1_0", b"\xd9\xa1", b"\0", b"x" * 9_000,
    b"1.0",
    b"retail.view_item.v1", b"retail.clickstream.v1", b"0001-01-01T00:00:00+23:59", b"application/json",
)
KEYS = (None, b"", b"\xff", b"17", b"|", b"5|3", b"x" * 300)
