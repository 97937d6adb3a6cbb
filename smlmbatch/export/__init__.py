"""Results out of a campaign: tables, and localisations as other programs write them."""
