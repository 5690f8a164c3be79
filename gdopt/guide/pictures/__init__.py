"""Scripts that draw the guide's pictures, one for each theme.

Each draws what it computes, with fixed seeds, into a folder; --help lists its pictures:

    python -m gdopt.guide.pictures.averages OUT
"""
