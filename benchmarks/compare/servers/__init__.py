"""The servers of the comparison; each serves the model that COMPARE_MODEL names.

Each module runs in its library's environment, so no module imports Driftline.
"""
