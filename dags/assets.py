"""The assets by which what follows is started: a dataset, when a delivery of it is loaded; its settled periods, once each.

A mart or a publication subscribes to one of the two with `schedule=`. Events go through an alias, because most tasks have none to tell.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias


def loaded_asset(dataset: str) -> Asset:
    """Updated with each delivery that is loaded; `extra` tells its number and period."""
    return Asset(name=dataset, uri=f"ndc://national/{dataset}", group="loaded")


def settled_asset(dataset: str) -> Asset:
    """Updated once for each period: when every expected delivery is loaded, or its due date has passed."""
    return Asset(name=f"{dataset}/settled", uri=f"ndc://national/{dataset}/settled", group="settled")


def loaded_alias(dataset: str) -> AssetAlias:
    return AssetAlias(f"{dataset}?loaded", group="loaded")


def settled_alias(dataset: str) -> AssetAlias:
    return AssetAlias(f"{dataset}?settled", group="settled")
