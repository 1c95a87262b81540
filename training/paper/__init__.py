"""The models of Ihalage et al. as published, and baselines, for comparison with what is served.

Ihalage, Taheri, Muhammad and Al-Raweshidy, "Convolutional vs Large Language Models for Software Log Classification in
Edge-Deployable Cellular Network Testing". Section numbers in this package are those of that paper.
"""
