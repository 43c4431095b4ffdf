"""The paper's own numbers, typed once, for tables that put ours beside them: Wang et al. 2020 and its supplement."""

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

# Table 1 (bottom): estimated p of the first source, cars, for red vehicles that are cars to 30, 50 and 70 %.
TABLE_1_CARS = {0.3: 0.34, 0.5: 0.48, 0.7: 0.64}

# Table 1 (bottom), four sources: estimated p by source and target.
TABLE_1_FOUR = {
    "tower": {"living room": 0.07, "kitchen": 0.06, "bridge": 0.42, "church": 0.45},
    "bedroom": {"living room": 0.45, "kitchen": 0.40, "bridge": 0.08, "church": 0.07},
}

# Supplement C, Table 3: estimated p of cars at a true share of 0.3, by the objective of Eq. 5 and 6.
TABLE_3_CARS = {"max": 0.34, "mean": 0.51}

# Supplement F: FID by target: with the critic of one source to start from, and with that of another.
SUPPLEMENT_F_CRITIC = {"tower": (62.4, 61.7), "bedroom": (54.7, 54.3)}
