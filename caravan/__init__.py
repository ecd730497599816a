"""Caravan: one door to a city's compute. Open `caravan/contracts` for the words and `services/` for the three services."""
