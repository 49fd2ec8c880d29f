"""The methods that are not trained, by name. One file each."""

from dermseg.experiments.baselines import active_contour, clustering, otsu, region_growing
from dermseg.experiments.baselines.baseline import Rival

RIVALS: dict[str, Rival] = {
    "otsu": otsu.RIVAL,
    "fuzzy-c-means": clustering.RIVAL,
    "region-growing": region_growing.RIVAL,
    "active-contour": active_contour.RIVAL,
}
"""Name to method. Another one is a file here and a line in this table."""
