"""The worked example of the MIRO paper (Tables 2 and 3): 20 clusters of 50 locs in 1,000 of background, judged by two methods.

The paper gives the confusion matrices; positions are made up so that clusters lie apart and a cluster's largest part lies in its middle.
"""

import numpy as np

NOISE = 0
_APART_NM = 1000.0


def confusion_a():
    """True classes by found ones, (21, 21); row and column 0 are background."""
    table = np.zeros((21, 21), int)
    table[0, 0], table[0, 1:], table[1:, 0] = 800, 10, 5
    table[np.arange(1, 21), np.arange(1, 21)] = 45
    return table


def confusion_b():
    """(21, 31): ten clusters are found whole, ten in two parts."""
    table = np.zeros((21, 31), int)
    table[0, 0], table[1:, 0] = 900, 9
    for whole in range(1, 11):
        table[whole, whole], table[0, whole] = 41, 5
    for split in range(11, 21):
        first = 11 + 2 * (split - 11)
        table[split, first], table[split, first + 1], table[0, first] = 21, 20, 5
    return table


def field_of(table):
    """(n, 2) nm, true and found labels of locs with this confusion matrix; 0 is noise in both."""
    true, found = (np.repeat(index, table[np.nonzero(table)]) for index in np.nonzero(table))
    parent = np.zeros(table.shape[1], int)  # the true cluster that a found one lies in
    parent[1:] = 1 + table[1:, 1:].argmax(axis=0)
    second = (parent[found] == parent[found - 1]) & (found > 1)  # the smaller part lies to the right, within the cluster
    home = np.where(true > 0, true, parent[found])
    turn = 2.4 * np.arange(len(true))  # the golden angle: round
    xy_nm = np.stack([home * _APART_NM + 20 * np.cos(turn) + 25 * second, 20 * np.sin(turn)], axis=1)
    noise = (true == NOISE) & (found == NOISE)
    xy_nm[noise] = np.stack([np.arange(noise.sum()), np.full(noise.sum(), 50_000)], axis=1)
    return xy_nm, true, found
