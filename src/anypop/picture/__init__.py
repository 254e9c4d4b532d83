"""Maps of the world as SVG text: the same for the portal and the command line. Pure."""
