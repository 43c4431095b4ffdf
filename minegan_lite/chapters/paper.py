"""The papers' own numbers, typed once, for tables that put ours beside them: Wang et al. 2020 and its supplement.

At the end are the numbers in the abstracts of two other papers, Mind2Mind and TransferI2I.
"""

# Supplement D, Table 4: mining on MNIST, |z| = 128; by (manifold, kind) and digit: FID, classifier error in percent.
TABLE_4 = {
    ("on", "unconditional"): [
        (13.4, 2.5), (13.1, 1.7), (14.6, 6.3), (14.1, 10.1), (14.7, 6.4),
        (13.1, 9.3), (13.4, 2.8), (12.9, 3.2), (14.2, 7.5), (11.3, 6.8),
    ],
    ("on", "conditional"): [
        (12.6, 0.7), (12.6, 1.9), (12.8, 2.7), (13.3, 1.6), (13.4, 1.2),
        (11.7, 2.1), (14.3, 1.8), (14.2, 1.8), (14.7, 5.5), (11.2, 2.9),
    ],
    ("off", "unconditional"): [
        (21.3, 2.8), (15.9, 2.5), (23.1, 5.2), (22.8, 7.3), (23.4, 6.3),
        (21.9, 10.9), (24.0, 3.1), (24.8, 4.9), (25.7, 9.8), (12.5, 7.4),
    ],
    ("off", "conditional"): [
        (15.6, 1.1), (14.8, 2.1), (18.2, 3.6), (14.2, 1.5), (15.3, 4.2),
        (17.2, 5.7), (15.8, 1.6), (16.3, 2.6), (18.7, 5.6), (16.3, 3.5),
    ],
}  # fmt: skip

# Table 1 (top): FID with 200 target images; red vehicles have three, for targets with 30, 50 and 70 % cars.
TABLE_1_FID = {
    "red vehicles": {
        "Scratch": (190, 185, 196),
        "TransferGAN (car)": (76.9, 72.4, 75.6),
        "TransferGAN (bus)": (72.8, 71.3, 73.5),
        "MineGAN (w/o FT)": (67.3, 65.9, 65.8),
        "MineGAN": (61.2, 59.4, 61.5),
    },
    "tower": {
        "Scratch": 176,
        "TransferGAN (livingroom)": 78.9,
        "TransferGAN (church)": 73.8,
        "MineGAN (w/o FT)": 69.2,
        "MineGAN": 62.4,
    },
    "bedroom": {
        "Scratch": 181,
        "TransferGAN (livingroom)": 65.4,
        "TransferGAN (church)": 71.5,
        "MineGAN (w/o FT)": 58.9,
        "MineGAN": 54.7,
    },
}

# Table 1 (bottom): estimated p of the first source, cars, for red vehicles that are cars to 30, 50 and 70 %.
TABLE_1_CARS = {0.3: 0.34, 0.5: 0.48, 0.7: 0.64}

# Table 1 (bottom), four sources: estimated p by source and target.
TABLE_1_FOUR = {
    "tower": {"living room": 0.07, "kitchen": 0.06, "bridge": 0.42, "church": 0.45},
    "bedroom": {"living room": 0.45, "kitchen": 0.40, "bridge": 0.08, "church": 0.07},
}

# Table 2: FID and KMMD with 500 target images a class; off-manifold is Places365, on-manifold ImageNet.
TABLE_2 = {
    "off": {
        "Scratch": (190, 0.96),
        "TransferGAN": (89.2, 0.53),
        "DGN-AM": (214, 0.98),
        "PPGN": (139, 0.56),
        "MineGAN (w/o FT)": (82.3, 0.47),
        "MineGAN": (78.4, 0.41),
    },
    "on": {
        "Scratch": (187, 0.93),
        "TransferGAN": (58.4, 0.39),
        "DGN-AM": (180, 0.95),
        "PPGN": (127, 0.47),
        "MineGAN (w/o FT)": (61.8, 0.32),
        "MineGAN": (52.3, 0.25),
    },
}

# Table 2, last column: milliseconds for one image, DGN-AM and PPGN with 200 iterations.
TABLE_2_MS = {
    "Scratch": 5.1, "TransferGAN": 5.1, "DGN-AM": 3020, "PPGN": 3830, "MineGAN (w/o FT)": 5.2, "MineGAN": 5.2,
}  # fmt: skip

# Fig. 6 (bottom): KMMD and MV with 25 target images; no MV is given from scratch and for the VAE.
FIGURE_6 = {
    "FFHQ": {
        "Scratch": (0.890, None),
        "TransferGAN": (0.346, 0.506),
        "VAE": (0.744, None),
        "BSA": (0.345, 0.785),
        "MineGAN (w/o FT)": (0.349, 0.774),
        "MineGAN": (0.337, 0.812),
    },
    "Anime": {
        "Scratch": (0.753, None),
        "TransferGAN": (0.347, 0.785),
        "VAE": (0.790, None),
        "BSA": (0.342, 0.908),
        "MineGAN (w/o FT)": (0.347, 0.891),
        "MineGAN": (0.334, 0.934),
    },
}

# Supplement C, Table 3: estimated p of cars whose true share is 0.3, for the two objectives of Eq. 5 and 6.
TABLE_3_CARS = {"max": 0.34, "mean": 0.51}

# Supplement F: the FID of each target when the critic starts from one source's, and when it starts from another's.
SUPPLEMENT_F_CRITIC = {"tower": (62.4, 61.7), "bedroom": (54.7, 54.3)}

# Abstract of Mind2Mind: training faster than StyleGAN's by "two orders of magnitude", at most.
MIND2MIND_SPEED_UP = 100

# Abstract of TransferI2I: mFID lower by "over" so many points, on several data sets.
TRANSFERI2I_POINTS = 25
