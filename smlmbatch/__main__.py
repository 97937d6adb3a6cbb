"""Entry point: pins the numerics before anything heavy is imported, then hands over to the command line."""


def main() -> None:
    from smlmbatch.hpc.numerics import pin_numerics

    pin_numerics()
    from smlmbatch.cli import entry

    entry()


if __name__ == "__main__":
    main()
