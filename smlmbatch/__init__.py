"""smlmbatch: batch analysis of single-molecule localisation microscopy on clusters.

Importing the package costs nothing: every heavy dependency is imported where it is used.
"""

__version__ = "0.1.0"
