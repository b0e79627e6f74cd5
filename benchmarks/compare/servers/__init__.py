"""The servers that Driftline is compared with, each around the model that COMPARE_MODEL names.

Each module runs in the environment of its own library, so none imports anything of Driftline.
"""
