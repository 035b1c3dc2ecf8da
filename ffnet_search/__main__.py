"""`python -m ffnet_search`: the command line."""

from ffnet_search.cli.app import main

main()
