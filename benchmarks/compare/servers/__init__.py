"""Define the servers of the comparison; each serves the model that COMPARE_MODEL names.

Each module runs in the environment of its own library, so none imports Driftline.
"""
