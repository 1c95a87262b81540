"""The models of Ihalage et al. as published, and the baselines they are compared with."""
