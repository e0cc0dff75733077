"""What the shop sells, and the cards its customers pay with. As with the test cards of a real payment provider, the
card decides what happens, so that traffic from one seed always shows every case."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Product:
    """One article. `price` is in euro cents, `stock` the number on the shelf after a restock."""

    sku: str
    title: str
    price: int
    stock: int


PRODUCTS = {
    product.sku: product
    for product in (
        Product("mug-blue", "Blue mug", 1_290, 400),
        Product("shirt-m", "T-shirt, medium", 2_490, 300),
        Product("notebook-a5", "Notebook A5", 790, 600),
        Product("lamp-desk", "Desk lamp", 5_900, 120),
        Product("poster-limited", "Poster, limited edition", 3_500, 1),
    )
}

LIMITED = "poster-limited"
"""The article that is sold out most of the time."""


class Card(StrEnum):
    """Test cards."""

    GOOD = "visa-4242"
    SLOW = "visa-0077"
    """The bank takes its time."""
    DECLINED = "visa-0002"
    """The bank says no: 402."""
    FLAKY = "mastercard-0341"
    """The first attempt fails, the second works."""
    UNREACHABLE = "mastercard-0119"
    """The bank cannot be reached, however often one tries: 503."""
    UNKNOWN = "amex-3155"
    """A brand nobody thought of: the payment service crashes with 500."""
