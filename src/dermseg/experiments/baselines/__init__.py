"""The methods that are not trained, by name. One file each."""

from dermseg.experiments.baselines import active_contour, clustering, otsu, region_growing
from dermseg.experiments.baselines.baseline import Baseline

BASELINES: dict[str, Baseline] = {
    "otsu": otsu.BASELINE,
    "fuzzy-c-means": clustering.BASELINE,
    "region-growing": region_growing.BASELINE,
    "active-contour": active_contour.BASELINE,
}
"""Name to method. Another one is a file here and a line in this table."""
