"""Which split face number i belongs to."""


def split_of(number: int) -> str:
    """Returns "train", "validation" or "test" for a face's number.

    The last 300 of each 5,000 faces and every 25th of the others are held out. `mini_faces` draws from the same
    numbers by the same rule, so that no training face of one dataset is a test face of the other.
    """
    if number % 5000 >= 4700:
        return "validation" if number % 5 < 2 else "test"
    if number % 25 == 0:
        return "validation" if number % 50 == 0 else "test"
    return "train"
