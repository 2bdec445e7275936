"""What a box, containers or a cluster needs around the flows: servers, images, manifests."""
