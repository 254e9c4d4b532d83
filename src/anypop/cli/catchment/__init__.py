"""`anypop catchment`, `doctor`, `why --model` and the preview of `announce`: what the model of the Internet says.

All of it is worked out in this process: control gives the network and the announcements, the graph comes from a file
or from the lab's own topology. Modules: `graphs` (which graph), `announced` (what we announce, now or what if),
`plans` and `saved` (files), `tables` and `picture` (how it looks), `commands`, `whys`, `doctoring` with `proposals`, `repairing` and
`reaching`, `preview`.
"""
