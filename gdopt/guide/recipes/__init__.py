"""Programs of the guide's page on the loop, each with the loop written in another way.

They run in seconds: ``python -m gdopt.guide.recipes.heat_minimize OUT`` writes its log
and its checkpoints into the folder OUT, and continues from them if it is run again.
"""
