"""Match the template to the science image: PSF, flux scale and background; subtract it."""
