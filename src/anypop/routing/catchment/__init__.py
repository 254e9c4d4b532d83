"""Questions about catchments: predict, compare, evaluate, find strays and repairs. Built on `internet` and `engine`."""
