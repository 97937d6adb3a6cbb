"""Descriptors of the locs of one channel in one region: DBSCAN clusters, Ripley's K, nearest neighbours."""
