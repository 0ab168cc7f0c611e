"""``python -m nasbench`` is the command ``nasbench``, for environments whose scripts are not on the path."""

from nasbench.cli.main import main

if __name__ == "__main__":
    main()
