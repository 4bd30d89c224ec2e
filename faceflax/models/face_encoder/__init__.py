"""Face encoders: image of a face -> unit vector; two images of one person have a large inner product."""
