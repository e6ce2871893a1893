"""Leeward keeps one application up across regions: it decides, fences, promotes, routes and measures."""
