"""Infrastructure for the flows on one machine, in containers or in a cluster: servers, images, manifests."""
